"""The mock provider's drawing: product pictures from nothing but a prompt, a style and a seed."""
