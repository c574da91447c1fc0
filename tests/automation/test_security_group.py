"""The nodes' security group as it goes to AWS."""

from castai_stack.automation import security_group


def test_the_group_is_the_one_of_castais_script():
    name = "cast-demo-cluster/CastNodeSecurityGroup"

    assert security_group.inputs("demo", name, "id-1", "vpc-1", {"team": "core"}) == {
        "name": name,
        "description": "Nodes that CAST AI starts for EKS cluster demo",
        "vpc_id": "vpc-1",
        "ingress": [{"protocol": "-1", "from_port": 0, "to_port": 0, "self": True}],
        "egress": [
            {
                "protocol": "-1",
                "from_port": 0,
                "to_port": 0,
                "cidr_blocks": ["0.0.0.0/0"],
                "ipv6_cidr_blocks": ["::/0"],
            }
        ],
        "tags": {
            "team": "core",
            "Name": name,
            "cast:cluster-id": "id-1",
        },
    }
