"""Measurements of exported models on the machine at hand; nothing else imports them."""
