"""Training of livecut's networks: data, model, losses, metrics. Nothing else imports it."""
