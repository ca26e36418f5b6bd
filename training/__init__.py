"""How a network is trained: batches, transforms, optimizer, metrics, callbacks, checkpoints."""
