#!/bin/sh
# Writes what each overlay comes to: deploy/k8s/rendered/<overlay>.yaml. For whoever has no kustomize, for seeing in a
# review what a change does to a cluster, and for the tests, which need no kubectl for them: the first line names the
# sources that a file was made from.
set -eu
cd "$(dirname "$0")"
sources=$(find autoscaling base overlays simulator -type f | LC_ALL=C sort | xargs cat | sha256sum | cut -d' ' -f1)
mkdir -p rendered
for overlay in overlays/*; do
  rendered="rendered/$(basename "$overlay").yaml"
  { echo "# Made by \`make manifests\` from sources $sources"; kubectl kustomize "$overlay"; } > "$rendered.new"
  mv "$rendered.new" "$rendered"
done
