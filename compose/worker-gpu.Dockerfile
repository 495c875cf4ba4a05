# Workers of the pool `gpu`. The host needs the NVIDIA driver (580 or newer, for CUDA 13) and its container toolkit.
# Build from the checkout's root: docker build --file compose/worker-gpu.Dockerfile .
#
# CUDA 13 and cuDNN 9 are what the ONNX Runtime and the PyTorch of requirements.lock are built for.
FROM nvidia/cuda:13.0.2-cudnn-runtime-ubuntu24.04 AS python
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

FROM python AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /build
COPY requirements.txt requirements.lock ./
COPY requirements requirements
RUN pip install --requirement requirements.txt --requirement requirements/examples.txt \
    --constraint requirements.lock
COPY client client
RUN pip install ./client --constraint requirements.lock

FROM python
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
    PENSTOCK_DATA=/data PENSTOCK_MODELS=/models \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN python -m compileall -q /app
USER 10001
# Models load for minutes; a worker counts as healthy when it has loaded them.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10m --retries=6 CMD ["python", "-m", "workers.health"]
CMD ["penstock", "worker", "--pool", "gpu"]
