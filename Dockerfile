# One image for every local role: docker-compose.yml says which command a container runs. Health
# checks stand there, too, one for each role: a HEALTHCHECK here would ask a worker over HTTP.
ARG PYTHON_IMAGE=python:3.13-slim
FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
# For `strip`: uvloop and others come with the symbols of a debugger, which are most of their size.
RUN apt-get update && apt-get install --yes --no-install-recommends binutils
COPY requirements-build.lock requirements-image.lock ./
RUN pip install --no-cache-dir --root-user-action ignore --require-hashes -r requirements-build.lock \
    && python -m venv --without-pip /opt/darkroom \
    && pip --python /opt/darkroom install --no-cache-dir --no-compile --only-binary :all: \
        --require-hashes -r requirements-image.lock
COPY docker/shrink.py ./
RUN python shrink.py /opt/darkroom \
    && find /opt/darkroom -name '*.so*' ! -path '*.libs/*' -exec strip --strip-unneeded {} +
COPY pyproject.toml README.md LICENSE ./
COPY shared shared
COPY local local
COPY cli cli
COPY devkit devkit
COPY functions functions
# hatchling is here already: nothing is asked of an index any more.
RUN pip wheel --no-deps --no-build-isolation --no-index --wheel-dir dist . \
    && pip --python /opt/darkroom install --no-compile --no-deps --no-index dist/*.whl
COPY docker/compile.py /opt/darkroom/

FROM ${PYTHON_IMAGE}
# ensurepip is pip once more, in a wheel.
RUN pip uninstall --yes --root-user-action ignore pip \
    && rm -r "$(python -c 'import ensurepip; print(*ensurepip.__path__)')" \
    && groupadd --gid 10001 darkroom \
    && useradd --uid 10001 --gid darkroom --no-create-home --home-dir /tmp --shell /usr/sbin/nologin darkroom \
    && install -d -o darkroom -g darkroom /var/lib/darkroom/images
COPY --from=build /opt/darkroom /opt/darkroom
# Here and not above: Python's own modules have no compiled form in its image.
RUN /opt/darkroom/bin/python -P /opt/darkroom/compile.py
ENV PATH=/opt/darkroom/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    IMAGE_DIR=/var/lib/darkroom/images
USER darkroom
WORKDIR /tmp
CMD ["darkroom", "--help"]
