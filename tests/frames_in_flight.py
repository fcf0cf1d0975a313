"""Frames through a GPU backend, several at a time, as the pipeline drives it."""


def frame_of(value, buffer, device):
    """Fill a frame's input, as the preprocess kernel does."""
    device.writing(buffer.input)
    buffer.input.fill(value)


def alpha_of(buffer, device):
    """Least and greatest alpha of a frame."""
    device.reading(buffer.alpha)
    return float(buffer.alpha.min()), float(buffer.alpha.max())


def run_frames(backend, device, values, depth, state=None):
    """Submit ``values``, keeping ``depth`` frames in flight; the alphas in order."""
    buffers = [backend.new_buffer() for _ in range(depth)]
    device.order.log.clear()  # a new lane tries its engine once
    alphas = []
    with backend.thread_context():
        for index, value in enumerate(values):
            buffer = buffers[index % depth]
            if index >= depth:
                backend.collect(buffer)
                alphas.append(alpha_of(buffer, device))
            frame_of(value, buffer, device)
            state = backend.submit(buffer, state)
        for index in range(len(values), len(values) + depth):
            backend.collect(buffers[index % depth])
            alphas.append(alpha_of(buffers[index % depth], device))
    return alphas
