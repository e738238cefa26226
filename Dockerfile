# The images of arklex-operator: operator (with the metrics API), runtime, and one for each type of worker.
#   docker build --target runtime --tag arklex-runtime .
# Everything is in a virtual environment at /opt/arklex, compiled, owned by root; processes run as user 65532 and need no
# writable file but /tmp. A secret `pip` may hold a pip.conf for networks with a package mirror of their own.
ARG BASE=python:3.13-slim

FROM ${BASE} AS python
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore PIP_CONFIG_FILE=/run/secrets/pip
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/arklex

FROM python AS wheel
COPY requirements/build.txt /tmp/build.txt
RUN --mount=type=secret,id=pip,required=false \
    /opt/pip/bin/pip install --quiet --no-cache-dir --no-deps --require-hashes --requirement /tmp/build.txt
WORKDIR /source
COPY LICENSE README.md pyproject.toml ./
COPY crds crds
COPY operator operator
COPY runtime runtime
RUN /opt/pip/bin/python -m hatchling build --target wheel --directory /tmp \
 && /opt/pip/bin/pip --python /opt/arklex/bin/python install --quiet --no-deps --no-index --no-compile --prefix /made/opt/arklex /tmp/*.whl \
 && /opt/pip/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /made /made

FROM python AS operator-dependencies
COPY requirements/operator.txt /tmp/requirements.txt
RUN --mount=type=secret,id=pip,required=false \
    /opt/pip/bin/pip --python /opt/arklex/bin/python install --quiet --no-cache-dir --no-deps --no-compile --require-hashes \
      --requirement /tmp/requirements.txt \
 && /opt/arklex/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/arklex/lib

FROM python AS runtime-dependencies
COPY requirements/runtime.txt /tmp/requirements.txt
RUN --mount=type=secret,id=pip,required=false \
    /opt/pip/bin/pip --python /opt/arklex/bin/python install --quiet --no-cache-dir --no-deps --no-compile --require-hashes \
      --requirement /tmp/requirements.txt \
 && /opt/arklex/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/arklex/lib

FROM python AS worker-dependencies
COPY requirements/worker.txt /tmp/requirements.txt
RUN --mount=type=secret,id=pip,required=false \
    /opt/pip/bin/pip --python /opt/arklex/bin/python install --quiet --no-cache-dir --no-deps --no-compile --require-hashes \
      --requirement /tmp/requirements.txt \
 && /opt/arklex/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/arklex/lib

FROM python AS worker-llm-dependencies
COPY requirements/worker-llm.txt /tmp/requirements.txt
RUN --mount=type=secret,id=pip,required=false \
    /opt/pip/bin/pip --python /opt/arklex/bin/python install --quiet --no-cache-dir --no-deps --no-compile --require-hashes \
      --requirement /tmp/requirements.txt \
 && /opt/arklex/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/arklex/lib

FROM ${BASE} AS image
LABEL org.opencontainers.image.title="arklex-operator" \
      org.opencontainers.image.description="Durable task graphs for AI agents" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/arklex/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
WORKDIR /handlers
USER 65532:65532

FROM image AS operator
COPY --from=operator-dependencies /opt/arklex /opt/arklex
COPY --from=wheel /made/ /
EXPOSE 8081 9090 6443
ENTRYPOINT ["arklex-operator"]

FROM image AS worker-custom
# A worker's own code goes to /handlers: by FROM this image and COPY handlers.py /handlers/, or as a volume.
ENV PYTHONPATH=/handlers
COPY --from=worker-dependencies /opt/arklex /opt/arklex
COPY --from=wheel /made/ /
EXPOSE 9090
ENTRYPOINT ["arklex"]
CMD ["worker"]

FROM worker-custom AS worker-tool

FROM image AS worker-llm
ENV PYTHONPATH=/handlers
COPY --from=worker-llm-dependencies /opt/arklex /opt/arklex
COPY --from=wheel /made/ /
EXPOSE 9090
ENTRYPOINT ["arklex"]
CMD ["worker"]

FROM image AS runtime
COPY --from=runtime-dependencies /opt/arklex /opt/arklex
COPY --from=wheel /made/ /
EXPOSE 8080 9090
ENTRYPOINT ["arklex"]
CMD ["runtime"]
