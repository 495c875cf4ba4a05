# The gateway, the orchestrator and the operator's commands: no model library in it.
# Build from the checkout's root: docker build --file compose/gateway.Dockerfile .
FROM python:3.11.14-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /build
COPY requirements.lock ./
COPY requirements/gateway.txt requirements/
RUN pip install --requirement requirements/gateway.txt --constraint requirements.lock
COPY client client
RUN pip install ./client --constraint requirements.lock

FROM python:3.11.14-slim-bookworm
RUN useradd --uid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin penstock \
    && install --directory --owner penstock /data /models
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY commands.py errors.py lifeline.py logs.py packages.py settings.py ./
COPY gateway gateway
COPY models models
COPY storage storage
COPY tasks tasks
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PENSTOCK_HOME=/app \
    PENSTOCK_HOST=0.0.0.0 PENSTOCK_PORT=8080 PENSTOCK_DATA=/data PENSTOCK_MODELS=/models
RUN python -m compileall -q /app
USER 10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['PENSTOCK_PORT'] + '/livez', timeout=2)"]
CMD ["penstock", "gateway"]
