"""Names and labels of the workloads that act in the cluster.

The names are those of CAST AI's own charts, and the instances are the releases of CAST AI's script,
so that its installations can be taken over in place.
Source: castai/helm-charts, charts/castai-cluster-controller, castai-evictor, castai-spot-handler;
castai/terraform-provider-castai, examples/eks/eks_cluster_gitops/README.md
"""

CONTROLLER = "castai-cluster-controller"
CONTROLLER_EXTENSION = "castai-cluster-controller-ext"
"""Cluster role of the rights that CAST AI adds to the controller's over time."""
CONTROLLER_CONTAINER = "cluster-controller"
LEASE = "cluster-controller"
"""Lease of the controller's leader election, which the controller creates at run time."""

SHARED = CONTROLLER
"""Secret and config map that CAST AI's other charts look for: cluster token, API, cluster id."""

INSTANCES = {CONTROLLER: "cluster-controller"}
"""Values of the label `app.kubernetes.io/instance`: the release of CAST AI's script."""
