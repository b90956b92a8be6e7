# The image for clusters: docker build --build-arg EXTRAS=cuda,log --tag NAME .
FROM python:3.11-slim

RUN apt-get update \
  && apt-get install --yes --no-install-recommends bubblewrap git \
  && rm -rf /var/lib/apt/lists/*

WORKDIR /jaxrl_entropy
ARG EXTRAS=tpu,math,gguf,parquet,sandbox,log
COPY setup.py pyproject.toml README.md ./
COPY jaxrl_entropy jaxrl_entropy
RUN pip install --no-cache-dir --editable ".[${EXTRAS}]"
COPY configs configs

CMD ["jaxrl-entropy", "--help"]
