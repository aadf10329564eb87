#!/usr/bin/env bash
# bash run.sh [--OPTION…]      corec run: CoreC in the foreground
# bash run.sh SUBCOMMAND …     corec SUBCOMMAND …
# bash run.sh ctl …            corec-ctl …
# bash run.sh test [ARG…]      the whole test suite (arguments go to pytest)
# bash run.sh tool NAME …      a tool of the development environment: ruff, mypy, …
#
# Needs Python 3.11 or newer with its venv module, and nothing else.
set -u
here=$(cd -P -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd) || exit 1

# A name may stand on the path and still not run (a version manager's shim, another user's home),
# so each candidate is asked.
for python in python3 python3.13 python3.12 python3.11 python3.14 /usr/bin/python3 /usr/local/bin/python3; do
    if "$python" -I -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
        >/dev/null 2>&1 </dev/null; then
        exec "$python" -I "$here/corec/bootstrap.py" "$@"
    fi
done
echo "CoreC needs Python 3.11 or newer with its venv module, and found none it can run" \
    "(on Debian and Ubuntu: the packages python3 and python3-venv)." >&2
exit 1
