"""The Lambda that reports Spot interruptions; imports nothing of castai_stack."""
