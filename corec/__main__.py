"""``python -m corec`` is ``corec``."""

from corec.cli.main import app_main

if __name__ == "__main__":
    app_main()
