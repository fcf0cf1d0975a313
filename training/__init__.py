"""Training of livecut's networks: data, model, losses, metrics. Not shipped in the wheel; nothing imports it."""
