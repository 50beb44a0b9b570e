# The service as an image: `--target cpu` (the last stage, so the default too) or `--target gpu`.
# docs/deployment.md says how to build and run it; docs/adr/0017-image.md says why it is so.

ARG BASE=docker.io/library/debian:bookworm-slim

# What every stage stands on: Debian's Python, nothing that compiles.
FROM ${BASE} AS python
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log

# Here, and in no stage that ships, there is pip. The two secrets are for a package index of your
# own: `pip.conf`, and `ca.crt`, which it may name as /run/secrets/ca.crt. Neither is kept.
FROM python AS tools
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv
WORKDIR /opt/polygrain
RUN python3 -m venv venv
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 \
    PIP_ONLY_BINARY=:all: PIP_ROOT_USER_ACTION=ignore

# Left out of OpenVINO: what computes on Intel's GPUs and NPUs, and what reads other formats than ONNX.
FROM tools AS packages-cpu
COPY deploy/locks/cpu.txt locks/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    venv/bin/pip install --require-hashes --no-deps -r locks/cpu.txt \
 && venv/bin/pip check \
 && venv/bin/pip uninstall --yes pip setuptools \
 && find venv/bin -type f -delete \
 && cd venv/lib/python3*/site-packages/openvino && rm -r include libs/cache.json \
      libs/*_gpu_plugin.so libs/*_npu_plugin.so libs/*_tensorflow*_frontend.so.* \
      libs/*_pytorch_frontend.so.* libs/*_paddle_frontend.so.* libs/*_jax_frontend.so.* \
      libs/*_gguf_frontend.so.* \
 && cd /opt/polygrain \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash venv/lib

FROM tools AS packages-gpu
COPY deploy/locks/gpu.txt locks/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    venv/bin/pip install --require-hashes --no-deps -r locks/gpu.txt \
 && venv/bin/pip check \
 && venv/bin/pip uninstall --yes pip setuptools \
 && find venv/bin -type f -delete \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash venv/lib

# The bundle: by far the largest of our own files, and the one that changes least.
FROM tools AS bundle
COPY models/polygrain-mini models/polygrain-mini
RUN chmod -R a+rX models

# Our code, installed as it lies, as `make serve` installs it: the environment gets the command, the
# version and a pointer to the code. That environment is laid over the one of the packages.
FROM tools AS application
COPY deploy/locks/build.txt locks/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    venv/bin/pip install --require-hashes --no-deps -r locks/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY deploy/healthcheck.py ./
COPY models/*.py models/
COPY service service
RUN venv/bin/pip install --no-deps --no-index --no-build-isolation --editable . \
 && venv/bin/pip uninstall --yes pip setuptools \
 && find venv/bin -type f ! -name polygrain -delete \
 && rm -rf locks *.egg-info \
 && find . -name __pycache__ -prune -exec rm -rf {} + \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash venv/lib models service \
 && chmod -R a+rX .

FROM python AS base
RUN groupadd --gid 10001 polygrain \
 && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home \
      --home-dir /var/lib/polygrain --shell /usr/sbin/nologin polygrain \
 && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/polygrain
ENV PATH=/opt/polygrain/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    POLYGRAIN_HOST=0.0.0.0 \
    POLYGRAIN_STATE_DIR=/var/lib/polygrain
WORKDIR /var/lib/polygrain
VOLUME /var/lib/polygrain
EXPOSE 8080
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python3", "-I", "-S", "/opt/polygrain/healthcheck.py"]
ENTRYPOINT ["polygrain"]
CMD ["serve"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Polygrain" \
      org.opencontainers.image.description="Multilingual embedding, alignment and retrieval" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM base AS gpu
# The container toolkit lends the driver; CUDA itself is among the packages. No GPU is an error.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    POLYGRAIN_DEVICE=cuda
COPY --from=packages-gpu /opt/polygrain/venv /opt/polygrain/venv
COPY --from=bundle /opt/polygrain/models /opt/polygrain/models
COPY --from=application /opt/polygrain /opt/polygrain

FROM base AS cpu
COPY --from=packages-cpu /opt/polygrain/venv /opt/polygrain/venv
COPY --from=bundle /opt/polygrain/models /opt/polygrain/models
COPY --from=application /opt/polygrain /opt/polygrain
