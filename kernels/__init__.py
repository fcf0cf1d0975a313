"""The full-resolution work, compiled: NumPy arrays in and out, no model, device or stream known here."""
