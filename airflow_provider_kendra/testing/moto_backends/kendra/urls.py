"""Where Kendra is found."""

from .responses import KendraResponse

url_bases = [r"https?://kendra\.(.+)\.amazonaws\.com"]

url_paths = {"{0}/$": KendraResponse.dispatch}
