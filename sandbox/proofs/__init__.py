"""Proofs on the sandbox: crashes, replays, costs."""
