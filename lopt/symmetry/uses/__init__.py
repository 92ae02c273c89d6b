"""What a traced function does with its tensors, and what they are by that."""
