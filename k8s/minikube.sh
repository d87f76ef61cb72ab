#!/usr/bin/env bash
# A small cluster on this machine with all that a pipeline needs, and the digits pipeline run on it.
#   k8s/minikube.sh up     bring up what is missing and run the pipeline
#   k8s/minikube.sh down   remove the cluster with everything in it
# Every step looks first, says what it found, and acts only on what is missing: run it again at will.
# It takes six processors, 12 GB of memory and 60 GB of disk, on amd64: Kubeflow has no other images.
# MINIKUBE_CPUS, MINIKUBE_MEMORY, MINIKUBE_DISK and MINIKUBE_DRIVER choose the machine.
set -euo pipefail
cd "$(dirname "$0")/.."

PROFILE=dcvae
KUBERNETES=v1.34.0
KFP=2.17.0
TRAINER=v2.3.0
IMAGE=ghcr.io/dcvae/dcvae:0.1.0
PORT=${DCVAE_UI_PORT:-8080}
PYTHON=${PYTHON:-.venv/bin/python}

say() { printf '%-10s %s\n' "$1" "$2"; }
fail() { echo "error: $1" >&2; exit 1; }
kube() { kubectl --context "$PROFILE" "$@"; }
# The image that a deployment runs, or nothing.
deployed() {
  kube get deployment --namespace "$1" "$2" --ignore-not-found \
    --output 'jsonpath={.spec.template.spec.containers[0].image}'
}

programs() {
  for each in minikube kubectl docker "$@"; do
    command -v "$each" > /dev/null || fail "$each is needed and is not on the PATH"
  done
  docker info > /dev/null 2>&1 || fail "docker does not answer: start it, or join its group"
  say programs "minikube, kubectl and docker are here"
}

# That the machine can carry it is said before anything is made.
machine() {
  local system minor processors
  system=$(uname -m)
  [[ $system == x86_64 ]] || fail "this machine is $system: Kubeflow Pipelines has images for amd64 alone"
  minor=$(kubectl version --client --output json | sed -n 's/.*"minor": *"\([0-9]*\).*/\1/p' | head -n 1)
  [[ ${minor:-0} -ge 27 ]] || fail "kubectl 1.${minor:-?} is too old: 1.27 can apply what Kubeflow has"
  processors=$(nproc)
  local wanted=${MINIKUBE_CPUS:-6}
  [[ $processors -ge $wanted ]] || fail \
    "this machine has $processors processors and the cluster takes $wanted: set MINIKUBE_CPUS (4 at least)"
  say machine "the cluster takes $wanted processors, ${MINIKUBE_MEMORY:-12g} of memory, ${MINIKUBE_DISK:-60g} of disk"
}

exists() { minikube profile list --output json 2> /dev/null | grep -q "\"Name\":\"$PROFILE\""; }

cluster() {
  if minikube status --profile "$PROFILE" > /dev/null 2>&1; then
    say cluster "$PROFILE runs"
    return
  fi
  if exists; then say cluster "$PROFILE is stopped: starting it"; else
    say cluster "there is none: making $PROFILE with Kubernetes $KUBERNETES"; fi
  # Calico, because minikube's own network does not enforce policies.
  minikube start --profile "$PROFILE" --kubernetes-version "$KUBERNETES" --cni calico \
    --cpus "${MINIKUBE_CPUS:-6}" --memory "${MINIKUBE_MEMORY:-12g}" \
    --disk-size "${MINIKUBE_DISK:-60g}" --driver "${MINIKUBE_DRIVER:-docker}"
}

kubeflow_pipelines() {
  local found
  found=$(deployed kubeflow ml-pipeline)
  if [[ $found == *":$KFP" ]]; then
    say pipelines "Kubeflow Pipelines $KFP is here"
  else
    say pipelines "found '${found:-nothing}': applying Kubeflow Pipelines $KFP"
    local from=github.com/kubeflow/pipelines/manifests/kustomize
    kube apply --kustomize "$from/cluster-scoped-resources?ref=$KFP"
    kube wait --for condition=established --timeout 60s crd/applications.app.k8s.io
    kube apply --kustomize "$from/env/platform-agnostic?ref=$KFP"
  fi
  kube wait --namespace kubeflow --for condition=available --timeout 15m deployment --all
}

kubeflow_trainer() {
  local found
  found=$(deployed kubeflow-system kubeflow-trainer-controller-manager)
  if [[ $found == *":$TRAINER" ]]; then
    say trainer "Kubeflow Trainer $TRAINER is here"
  else
    say trainer "found '${found:-nothing}': applying Kubeflow Trainer $TRAINER"
    kube apply --server-side --kustomize \
      "https://github.com/kubeflow/trainer.git/manifests/overlays/manager?ref=$TRAINER"
  fi
  kube wait --namespace kubeflow-system --for condition=available --timeout 10m deployment --all
}

image() {
  say image "building $IMAGE (unchanged layers are not built again)"
  docker build --tag "$IMAGE" ${TORCH_INDEX:+--build-arg "TORCH_INDEX=$TORCH_INDEX"} .
  local id
  id=$(docker image inspect --format '{{.Id}}' "$IMAGE")
  if minikube image ls --profile "$PROFILE" --format json | grep -q "${id#sha256:}"; then
    say image "the cluster has it"
  else
    say image "loading it into the cluster"
    minikube image load --profile "$PROFILE" --overwrite=true "$IMAGE"
  fi
}

# The keys of Kubeflow's own S3 server under the names that AWS's libraries read. They go from
# kubectl to kubectl: no argument, no file.
secret() {
  if [[ -n $(kube get secret --namespace kubeflow dcvae-storage --ignore-not-found --output name) ]]; then
    say storage "the secret dcvae-storage is here"
    return
  fi
  say storage "making the secret dcvae-storage from Kubeflow's own"
  local decode='{{index .data "accesskey" | base64decode}}{{"\n"}}AWS_SECRET_ACCESS_KEY={{index .data "secretkey" | base64decode}}'
  {
    kube get secret --namespace kubeflow mlpipeline-minio-artifact \
      --output "go-template=AWS_ACCESS_KEY_ID=$decode"
    printf '\nAWS_ENDPOINT_URL=http://seaweedfs.kubeflow:8333\nAWS_REGION=us-east-1\n'
  } | kube create secret generic dcvae-storage --namespace kubeflow --from-env-file /dev/stdin
}

ours() {
  say dcvae "applying k8s/overlays/minikube"
  kube delete job --namespace kubeflow dcvae-pipelines --ignore-not-found
  kube apply --kustomize k8s/overlays/minikube
  kube wait --namespace kubeflow --for condition=complete --timeout 10m job/dcvae-pipelines
  "$PYTHON" -m dcvae doctor --cluster --namespace kubeflow
}

# Keeps the UI at $PORT: the connection ends with the pod behind it, and now and then by itself.
forwarding() {
  local child
  trap 'kill "${child:-}" 2> /dev/null; exit' TERM
  while true; do
    # Not through kube, whose shell would be killed in its stead.
    kubectl --context "$PROFILE" port-forward --namespace kubeflow svc/ml-pipeline-ui "$PORT:80" \
      > /dev/null 2>&1 &
    child=$!
    wait "$child" || true
    sleep 1
  done
}

run() {
  local health=http://localhost:$PORT/apis/v2beta1/healthz
  curl --silent --fail --output /dev/null "$health" \
    && fail "port $PORT is in use: set DCVAE_UI_PORT"
  forwarding &
  local forward=$!
  # shellcheck disable=SC2064  # this process, not a later one
  trap "kill $forward 2> /dev/null" EXIT
  local answered=""
  for _ in $(seq 60); do
    curl --silent --fail --output /dev/null "$health" && { answered=yes; break; }
    sleep 1
  done
  [[ -n $answered ]] || fail "Kubeflow's UI does not answer at port $PORT: set DCVAE_UI_PORT"
  say run "the digits pipeline"
  "$PYTHON" pipelines/digits.py --submit --wait --host "http://localhost:$PORT" \
    --set storage=s3://mlpipeline/dcvae
  say "done" "to look at it: kubectl --context $PROFILE port-forward -n kubeflow svc/ml-pipeline-ui $PORT:80"
  say "" "then open http://localhost:$PORT"
}

case "${1:-}" in
  up)
    [[ -x $PYTHON ]] || fail "there is no $PYTHON: make environment"
    programs curl git
    machine
    cluster
    # The doctor asks the cluster that kubectl's configuration names.
    kubectl config use-context "$PROFILE" > /dev/null
    kubeflow_pipelines
    kubeflow_trainer
    image
    secret
    ours
    run
    ;;
  down)
    programs
    if exists; then
      minikube delete --profile "$PROFILE"
      say cluster "$PROFILE is removed"
    else
      say cluster "there is no $PROFILE: nothing to remove"
    fi
    ;;
  *) fail "say 'up' or 'down'" ;;
esac
