"""Others beside livecut, in one process and on the same frames: a 1080p picture in, a cut-out out."""
