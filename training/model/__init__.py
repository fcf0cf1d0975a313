"""The matting network, from encoder to alpha. Needs PyTorch once a module is imported."""
