# Workers of the pool `cpu`, and the build of the example models.
# Build from the checkout's root: docker build --file compose/worker-cpu.Dockerfile .
FROM python:3.11.14-slim-bookworm AS build
# PyTorch without CUDA, which the package index itself does not offer for Linux on x86.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /build
COPY requirements.txt requirements.lock ./
COPY requirements requirements
RUN pip install --requirement requirements.txt --requirement requirements/examples.txt \
    --constraint requirements.lock --extra-index-url "$TORCH_INDEX"
COPY client client
RUN pip install ./client --constraint requirements.lock

FROM python:3.11.14-slim-bookworm
RUN useradd --uid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin penstock \
    && install --directory --owner penstock /data /models
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY commands.py errors.py lifeline.py logs.py packages.py settings.py ./
COPY models models
COPY storage storage
COPY tasks tasks
COPY workers workers
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PENSTOCK_HOME=/app \
    PENSTOCK_DATA=/data PENSTOCK_MODELS=/models
RUN python -m compileall -q /app
USER 10001
# Models load for minutes; a worker counts as healthy when it has loaded them.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5m --retries=6 CMD ["python", "-m", "workers.health"]
CMD ["penstock", "worker", "--pool", "cpu"]
