import msgspec, json
from msgspec import Struct
from ..core import *
READS={'get_item','get_edges','search','get_all_items'}; WRITES={'create_item'}
class ClientAuth(Struct, tag=True, tag_field='type'): databaseKey: str
class Box(Struct):
    nonce: str
    encryptedPermissions: str
class PluginAuth(Struct, tag=True, tag_field='type'): data: Box
class E(Struct): auth: ClientAuth|PluginAuth; payload: msgspec.Raw
D=msgspec.json.Decoder(E)
def read_auth(t): 
    try: return msgspec.json.decode(t, type=ClientAuth|PluginAuth)
    except msgspec.MsgspecError as e: raise Invalid(str(e))
def read_body(b, wire):
    try: e=D.decode(b)
    except msgspec.MsgspecError as e: raise Invalid(str(e))
    return e.auth,e.payload
def check_key(k): return k
def failure(e): return e.status, f'Failure: {e.message}'
class Memri:
    def __init__(self,pod,wire='v4',starter=None): self.pod,self.runs=pod,[]
    def call(self,op,payload):
        if op=='get_item': return ('['+(self.pod.find.get_json(msgspec.json.decode(payload)) or '')+']').encode()
        return msgspec.json.encode(getattr(self.pod,op)(msgspec.json.decode(payload)))
