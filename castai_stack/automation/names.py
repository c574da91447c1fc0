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

EVICTOR = "castai-evictor"
EVICTOR_AUTOSCALER = "castai-evictor-cpvpa"
EVICTOR_SIZES = "castai-evictor-autoscaler"
EVICTOR_SIZES_KEY = "evictor-autoscaler"
EVICTOR_CONFIG = "evictor-config"
"""The only object of the kind EvictorConfig that the evictor reads."""
WRITTEN_BY_CASTAI = "evictor-configuration"
"""Part whose spec CAST AI overwrites with the settings of its API, so that a change is no drift."""

SPOT_HANDLER = "castai-spot-handler"
SPOT_HANDLER_PATCH = "castai-spot-handler-phase2"
"""Cluster role that lets the handler mark nodes, under the name that the chart gives it."""

INSTANCES = {
    CONTROLLER: "cluster-controller",
    EVICTOR: "castai-evictor",
    EVICTOR_AUTOSCALER: "castai-evictor-cpvpa",
    SPOT_HANDLER: "castai-spot-handler",
}
"""Values of the label `app.kubernetes.io/instance`: the release of CAST AI's script."""
