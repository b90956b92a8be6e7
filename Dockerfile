# The image for clusters: docker build --build-arg EXTRAS=cuda,log --tag NAME .
# It has the wheel of this checkout, with the versions of constraints.txt.
FROM python:3.11-slim AS build

WORKDIR /source
COPY setup.py pyproject.toml MANIFEST.in README.md LICENSE ./
COPY jaxrl_entropy jaxrl_entropy
COPY configs configs
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim

RUN apt-get update \
  && apt-get install --yes --no-install-recommends bubblewrap git \
  && rm -rf /var/lib/apt/lists/*

ARG EXTRAS=tpu,math,gguf,parquet,sandbox,log,gcs
COPY constraints.txt /
RUN --mount=from=build,source=/wheels,target=/wheels \
  wheel=$(echo /wheels/*.whl) \
  && pip install --no-cache-dir --constraint /constraints.txt \
    "${wheel}[${EXTRAS}]"

WORKDIR /work
CMD ["jaxrl-entropy", "--help"]
