"""Where Kendra is found."""

from .responses import KendraResponse

url_bases = [r"https?://kendra(?:-fips)?\.(.+)\.amazonaws\.com", r"https?://kendra(?:-fips)?\.(.+)\.api\.aws"]

url_paths = {"{0}/$": KendraResponse.dispatch}
