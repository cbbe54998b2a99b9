"""Pretrained networks that turn sound into one vector every second or so."""
