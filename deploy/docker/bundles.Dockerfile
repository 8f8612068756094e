# An image of bundles, which Kubernetes mounts: deploy/kubernetes/components/bundles-image. Build it in the folder of the
# bundles.
FROM scratch
COPY . /
