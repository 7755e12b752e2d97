"""Measurements of training on the machine at hand; nothing else imports them."""
