"""The former path of `scorecam.images.photo`, which programs import."""

from scorecam.images.photo import read_photo

__all__ = ["read_photo"]
