"""Speed of livecut, measured side by side with what people write today. Not part of the wheel."""
