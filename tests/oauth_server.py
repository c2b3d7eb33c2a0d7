"""A small OAuth 2 service on loopback, for the tests: authorisation page, tokens, revocation, something to read, and a login
by password. The standard's part is oauthlib's; the client under test is built on Authlib, so two readings have to agree."""
import json, secrets, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from oauthlib.oauth2 import FatalClientError, OAuth2Error, RequestValidator, Server

CLIENT, REDIRECT, SCOPES = 'my-plugin', 'http://127.0.0.1/callback', ['mail.read', 'profile']


class Client:
    def __init__(self, id): self.client_id = id


class Memory(RequestValidator):
    "What the service remembers: codes, each for one use, and tokens"
    def __init__(self, secret=None): self.secret, self.codes, self.tokens, self.refresh = secret, {}, {}, {}

    def known(self, request):
        request.client = Client(CLIENT)
        return True

    # clients: a public one, or one with a secret
    def client_authentication_required(self, request, *args, **kwargs): return self.secret is not None
    def authenticate_client(self, request, *args, **kwargs):
        import base64
        kind, _, pair = request.headers.get('Authorization', '').partition(' ')
        return kind == 'Basic' and base64.b64decode(pair).decode() == f'{CLIENT}:{self.secret}' and self.known(request)
    def authenticate_client_id(self, client_id, request, *args, **kwargs):
        return client_id == CLIENT and self.known(request)
    def validate_client_id(self, client_id, request, *args, **kwargs): return client_id == CLIENT
    def validate_redirect_uri(self, client_id, redirect_uri, request, *args, **kwargs): return redirect_uri == REDIRECT
    def confirm_redirect_uri(self, client_id, code, redirect_uri, client, request, *args, **kwargs):
        return redirect_uri == REDIRECT
    def validate_response_type(self, client_id, response_type, client, request, *args, **kwargs):
        return response_type == 'code'
    def validate_grant_type(self, client_id, grant_type, client, request, *args, **kwargs):
        return grant_type in ('authorization_code', 'refresh_token')
    def validate_scopes(self, client_id, scopes, client, request, *args, **kwargs): return set(scopes) <= set(SCOPES)
    def get_default_scopes(self, client_id, request, *args, **kwargs): return SCOPES

    # codes, with PKCE
    def is_pkce_required(self, client_id, request): return True
    def save_authorization_code(self, client_id, code, request, *args, **kwargs):
        self.codes[code['code']] = (request.code_challenge, request.code_challenge_method, request.scopes)
    def get_code_challenge(self, code, request): return self.codes[code][0]
    def get_code_challenge_method(self, code, request): return self.codes[code][1]
    def validate_code(self, client_id, code, client, request, *args, **kwargs):
        request.scopes, request.user = self.codes.get(code, (0, 0, []))[2], 'ada'
        return code in self.codes
    def invalidate_authorization_code(self, client_id, code, request, *args, **kwargs): del self.codes[code]

    # tokens; a refresh token is good for one use
    def save_bearer_token(self, token, request, *args, **kwargs):
        self.refresh.pop(getattr(request, 'refresh_token', None), None)
        self.tokens[token['access_token']] = time.time() + token['expires_in']
        self.refresh[token['refresh_token']] = request.scopes
        return REDIRECT
    def validate_bearer_token(self, token, scopes, request): return self.tokens.get(token, 0) > time.time()
    def validate_refresh_token(self, refresh_token, client, request, *args, **kwargs): return refresh_token in self.refresh
    def get_original_scopes(self, refresh_token, request, *args, **kwargs): return self.refresh[refresh_token]
    def revoke_token(self, token, token_type_hint, request, *args, **kwargs):
        self.tokens.pop(token, None)
        self.refresh.pop(token, None)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args): pass

    def reply(self, status, body='', headers=()):
        data = body.encode()
        self.send_response(status)
        for k, v in {'Content-Length': str(len(data)), **dict(headers)}.items(): self.send_header(k, v)
        self.end_headers()
        self.wfile.write(data)

    def asked(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0))).decode()
        # oauthlib insists on https; the last mile of a real service is plain, too
        return f'https://{self.headers["Host"]}{self.path}', self.command, body, dict(self.headers)

    def do_GET(self):
        oauth, uri, path = self.server.oauth, self.asked(), urlsplit(self.path).path
        self.server.seen.append((self.command, path, ''))
        if path == '/authorize': # a person who agrees at once
            try:
                scopes, credentials = oauth.validate_authorization_request(*uri)
                credentials.pop('request')
                headers, body, status = oauth.create_authorization_response(*uri, scopes=scopes, credentials=credentials)
            except FatalClientError as e: return self.reply(400, e.error)
            except OAuth2Error as e: return self.reply(302, '', {'Location': e.in_uri(REDIRECT)})
            return self.reply(status, body or '', headers)
        if path == '/me':
            good, _ = oauth.verify_request(*uri, scopes=['profile'])
            return self.reply(200, json.dumps([{'name': 'name_1', 'age': 21}, {'name': 'name_2', 'age': 22}])) if good \
                else self.reply(401, 'invalid_token')
        self.reply(404)

    def do_POST(self):
        uri, path = self.asked(), urlsplit(self.path).path
        self.server.seen.append((self.command, path, uri[2]))
        if self.server.broken: return self.reply(*self.server.broken)
        if path == '/token': headers, body, status = self.server.oauth.create_token_response(*uri)
        elif path == '/revoke': headers, body, status = self.server.oauth.create_revocation_response(*uri)
        elif path == '/login':
            said = {k: v[0] for k, v in parse_qs(uri[2]).items()}
            if self.server.users.get(said.get('username')) != said.get('password'):
                return self.reply(401, f'no {said["username"]} with password {said["password"]}')
            return self.reply(200, json.dumps({'session_token': 'session-' + secrets.token_hex(8)}))
        else: return self.reply(404)
        self.reply(status, body or '', headers)


class OAuthServer(ThreadingHTTPServer):
    "`with OAuthServer() as service: service.settings` is what an `OAuth2Authenticator` needs to know"
    daemon_threads = True

    def __init__(self, secret=None, lifetime=3600):
        super().__init__(('127.0.0.1', 0), Handler)
        self.memory = Memory(secret)
        self.oauth = Server(self.memory, token_expires_in=lambda request: self.lifetime)
        self.lifetime, self.users, self.seen, self.broken = lifetime, {'ada': 'hunter2-secret'}, [], None
        self.url = f'http://127.0.0.1:{self.server_port}'
        self.settings = dict(client_id=CLIENT, client_secret=secret, authorize_url=f'{self.url}/authorize',
                             token_url=f'{self.url}/token', scopes=SCOPES, verify_url=f'{self.url}/me',
                             revoke_url=f'{self.url}/revoke')

    def posts(self, path): return [body for method, p, body in self.seen if (method, p) == ('POST', path)]

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(.02,), daemon=True).start()
        return self

    def __exit__(self, *args):
        self.shutdown()
        self.server_close()
