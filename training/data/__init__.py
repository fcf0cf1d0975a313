"""What the networks learn from: labelled pairs, cut-outs, rendered scenes, and compositions of them."""
