"""From a source of frames to a sink of cut-outs: sessions, backends, the streaming pipeline."""
