"""From a torch module to a bundle the engine can load. Knows no network of ours."""
