"""Measuring implementations of losses, ours and others', against certified results."""
