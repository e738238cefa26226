# The images of arklex-operator: operator (with the metrics API), runtime, and one for each type of worker.
#   docker build --target runtime --tag arklex-runtime .
# Everything is in a virtual environment at /opt/arklex, compiled, owned by root; processes run as user 65532 and need no
# writable file but /tmp. A secret `pip` may hold a pip.conf for networks with a package mirror of their own.
ARG BASE=python:3.13-slim

FROM ${BASE} AS wheel
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore PIP_CONFIG_FILE=/run/secrets/pip
COPY requirements/build.txt /tmp/build.txt
RUN --mount=type=secret,id=pip,required=false \
    python3 -m venv /opt/pip \
 && /opt/pip/bin/pip install --quiet --no-cache-dir --no-deps --require-hashes --requirement /tmp/build.txt \
 && python3 -m venv --without-pip /opt/arklex
WORKDIR /source
COPY LICENSE README.md pyproject.toml ./
COPY crds crds
COPY operator operator
COPY runtime runtime
RUN /opt/pip/bin/python -m hatchling build --target wheel --directory /tmp \
 && /opt/pip/bin/pip --python /opt/arklex/bin/python install --quiet --no-deps --no-index --no-compile \
      --prefix /made/opt/arklex /tmp/*.whl \
 && /opt/pip/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /made /made

FROM ${BASE} AS image
LABEL org.opencontainers.image.title="arklex-operator" \
      org.opencontainers.image.description="Durable task graphs for AI agents" \
      org.opencontainers.image.licenses="Apache-2.0"
# A name for the user, whatever its number: there is no entry for it in /etc/passwd.
ENV PATH=/opt/arklex/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    USER=arklex
WORKDIR /handlers

FROM image AS operator-dependencies
COPY requirements/operator.txt /opt/requirements.txt
RUN --mount=type=secret,id=pip,required=false \
    python3 -m venv /tmp/pip && python3 -m venv --without-pip /opt/arklex \
 && PIP_CONFIG_FILE=/run/secrets/pip /tmp/pip/bin/pip --python /opt/arklex/bin/python install --quiet --no-cache-dir \
      --disable-pip-version-check --no-deps --no-compile --require-hashes --requirement /opt/requirements.txt \
 && /opt/arklex/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/arklex/lib && rm -r /tmp/pip

FROM image AS runtime-dependencies
COPY requirements/runtime.txt /opt/requirements.txt
RUN --mount=type=secret,id=pip,required=false \
    python3 -m venv /tmp/pip && python3 -m venv --without-pip /opt/arklex \
 && PIP_CONFIG_FILE=/run/secrets/pip /tmp/pip/bin/pip --python /opt/arklex/bin/python install --quiet --no-cache-dir \
      --disable-pip-version-check --no-deps --no-compile --require-hashes --requirement /opt/requirements.txt \
 && /opt/arklex/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/arklex/lib && rm -r /tmp/pip

FROM image AS worker-dependencies
COPY requirements/worker.txt /opt/requirements.txt
RUN --mount=type=secret,id=pip,required=false \
    python3 -m venv /tmp/pip && python3 -m venv --without-pip /opt/arklex \
 && PIP_CONFIG_FILE=/run/secrets/pip /tmp/pip/bin/pip --python /opt/arklex/bin/python install --quiet --no-cache-dir \
      --disable-pip-version-check --no-deps --no-compile --require-hashes --requirement /opt/requirements.txt \
 && /opt/arklex/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/arklex/lib && rm -r /tmp/pip

FROM image AS worker-llm-dependencies
COPY requirements/worker-llm.txt /opt/requirements.txt
RUN --mount=type=secret,id=pip,required=false \
    python3 -m venv /tmp/pip && python3 -m venv --without-pip /opt/arklex \
 && PIP_CONFIG_FILE=/run/secrets/pip /tmp/pip/bin/pip --python /opt/arklex/bin/python install --quiet --no-cache-dir \
      --disable-pip-version-check --no-deps --no-compile --require-hashes --requirement /opt/requirements.txt \
 && /opt/arklex/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/arklex/lib && rm -r /tmp/pip

FROM operator-dependencies AS operator
COPY --from=wheel /made/ /
USER 65532:65532
EXPOSE 6443 8081 9090
ENTRYPOINT ["arklex-operator"]

FROM worker-dependencies AS worker-custom
COPY --from=wheel /made/ /
# A worker's own code goes to /handlers: by FROM this image and COPY handlers.py /handlers/, or as a volume.
ENV PYTHONPATH=/handlers
USER 65532:65532
EXPOSE 9090
ENTRYPOINT ["arklex"]
CMD ["worker"]

FROM worker-custom AS worker-tool

FROM worker-llm-dependencies AS worker-llm
COPY --from=wheel /made/ /
ENV PYTHONPATH=/handlers
USER 65532:65532
EXPOSE 9090
ENTRYPOINT ["arklex"]
CMD ["worker"]

FROM runtime-dependencies AS runtime
COPY --from=wheel /made/ /
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["arklex"]
CMD ["runtime"]
