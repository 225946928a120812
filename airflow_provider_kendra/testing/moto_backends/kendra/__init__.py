"""Amazon Kendra, in the shape of a moto service."""

from .models import kendra_backends as kendra_backends
