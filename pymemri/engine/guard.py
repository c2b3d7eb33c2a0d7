from ..core import Forbidden
class Guard:
    def __init__(self, pod, grant): self.pod=pod
    def get_item(self, id): return []
    def create_item(self, i): raise Forbidden('no')
