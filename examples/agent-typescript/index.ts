// CAST AI's read-only agent in a cluster of your kubeconfig.
// `pulumi install` generates the SDK of the plugin.
import * as pulumi from "@pulumi/pulumi";
import * as castai from "@pulumi/castai-stack";
import * as kubernetes from "@pulumi/kubernetes";

const config = new pulumi.Config();

const agent = new castai.AgentComponent("demo", {
    cluster: { name: "demo", region: "eu-central-1", accountId: "012345678901" },
    clusterId: config.require("clusterId"), // the id that CAST AI's console shows
    apiKey: config.requireSecret("apiKey"),
    agent: { replicas: 1, labels: { team: "platform" } },
}, {
    provider: new castai.Provider("castai", { kubeconfig: "ambient" }),
    providers: [new kubernetes.Provider("cluster")],
});

export const namespace = agent.namespace;
