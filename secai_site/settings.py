"""One settings file. Everything comes from the environment; what is not set is denied or off."""

import os
from pathlib import Path
from typing import Any

import dj_database_url
from csp.constants import NONE, SELF

from secai_site.kernel import env, secrets
from secai_site.kernel.http.static import static_version
from secai_site.listeners import CALLERS

VERSION = "0.1.0"
BASE_DIR = Path(__file__).resolve().parent.parent

# --- where state lives -------------------------------------------------------------------------------

SECAI_HOME = env.folder("SECAI_HOME", BASE_DIR / "var")
PORT_OFFSET = env.number("SECAI_PORT_OFFSET", 0, low=0, high=56_000)
BIND = env.text("SECAI_BIND", "127.0.0.1")
FIRST_START = not (SECAI_HOME / "secrets" / "complete").exists()
for _name in ("", "models", "quarantine", "quarantine/incoming", "run", "run/tokens", "logs", "tmp"):
    (SECAI_HOME / _name).mkdir(mode=0o700, parents=True, exist_ok=True)

MODELS_DIR = SECAI_HOME / "models"
QUARANTINE_DIR = SECAI_HOME / "quarantine"
RUN_DIR = SECAI_HOME / "run"
TOKENS_DIR = RUN_DIR / "tokens"
ENGINE_SOCKET = RUN_DIR / "engine.sock"
SERVICE_CALLERS = CALLERS
AUDIT_HEAD = SECAI_HOME / "audit-head.json"
FILE_UPLOAD_TEMP_DIR = str(SECAI_HOME / "tmp")

SECRET_KEY = env.text("SECAI_SECRET_KEY") or secrets.read_or_create(
    SECAI_HOME / "secrets" / "site.key", first_start=FIRST_START
)
AUDIT_KEY = env.text("SECAI_AUDIT_KEY") or secrets.read_or_create(
    SECAI_HOME / "secrets" / "audit.key", first_start=FIRST_START
)
if FIRST_START:
    # from here on a missing key is a loss to be told, not a first start
    (SECAI_HOME / "secrets").mkdir(mode=0o700, exist_ok=True)
    (SECAI_HOME / "secrets" / "complete").touch(mode=0o600)

# --- who may talk to us ------------------------------------------------------------------------------

DEBUG = False
PUBLIC_URL = env.text("SECAI_PUBLIC_URL").rstrip("/")
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", *env.words("SECAI_ALLOWED_HOSTS")]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if PUBLIC_URL else []
USE_X_FORWARDED_HOST = False
BEHIND_TLS = PUBLIC_URL.startswith("https://")
if BEHIND_TLS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 31_536_000
# The proxy in front redirects to HTTPS (W008) and answers for its own domain's HSTS policy (W005, W021).
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W008", "security.W021"]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS

SESSION_ENGINE = "secai_site.kernel.auth.sessions"
SESSION_COOKIE_NAME = "secai_session" if not PORT_OFFSET else f"secai_session_{PORT_OFFSET}"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Strict"
SESSION_COOKIE_AGE = 14 * 24 * 3600
CSRF_COOKIE_NAME = "secai_csrf" if not PORT_OFFSET else f"secai_csrf_{PORT_OFFSET}"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Strict"
CSRF_FAILURE_VIEW = "secai_site.kernel.http.errors.csrf_failure"

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}

# Bytes of one request body; uploads of models are streamed and bounded by the disk instead.
BODY_LIMIT = 1024 * 1024
DECISION_BODY_LIMIT = 64 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_LIMIT
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200

# --- the project -------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "secai_site.kernel.auth",
    "secai_site.kernel.audit",
    "secai_site.kernel.jobs",
    "secai_site.kernel.limits",
    "registry",
    "firewall",
    "airlock",
    "agent",
    "search",
    "ui",
    "secai_site.apps.SiteConfig",
    "secai_site.apps.OperatorAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "csp",
]

MIDDLEWARE = [
    "secai_site.kernel.http.middleware.ListenerMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "secai_site.kernel.http.middleware.HeadersMiddleware",
    "secai_site.kernel.http.middleware.OriginMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "secai_site.kernel.auth.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

# A request that no listener claims finds no route at all.
ROOT_URLCONF = "secai_site.closed"
APPEND_SLASH = False

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "secai_site" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- database ----------------------------------------------------------------------------------------

DATABASES: dict[str, Any]
if _url := env.text("SECAI_DATABASE_URL"):
    DATABASES = {"default": dj_database_url.parse(_url, conn_max_age=60, conn_health_checks=True)}
else:
    # One writer at a time, taken at the start of a transaction, so that two writers wait instead of failing;
    # synchronous=FULL: the audit chain must not lose its tail in a power cut.
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": SECAI_HOME / "db.sqlite3",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 10,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;",
            },
        }
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    # Counters shared by all processes; see kernel/limits/cache.py.
    "limits": {"BACKEND": "secai_site.kernel.limits.cache.CounterCache"},
}
RATELIMIT_USE_CACHE = "limits"
RATELIMIT_FAIL_OPEN = False
# Per caller; a view names its rate. Reading needs no count: it changes nothing and is bounded by the sockets.
RATES = {
    "write": "240/m",
    "chat": "60/m",
    "upload": "60/m",
    "sign_in": "10/m",
    "address": "60/m",
    "setup": "20/m",
    "refusals": "20/m",
}

# --- people ------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "/sign-in"
LOGIN_REDIRECT_URL = "/"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# --- HTTP API ----------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["secai_site.kernel.auth.authentication.PrincipalAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["secai_site.kernel.auth.permissions.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["secai_site.kernel.limits.throttles.CallerRate"],
    "DEFAULT_PARSER_CLASSES": ["secai_site.kernel.http.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": [
        "rest_framework.renderers.JSONRenderer",
        "secai_site.kernel.http.renderers.BrowsableRenderer",
    ],
    "EXCEPTION_HANDLER": "secai_site.kernel.http.errors.render",
    "DEFAULT_SCHEMA_CLASS": "secai_site.kernel.http.schema.DeclaredSchema",
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "secai_site.kernel.http.renderers.LenientNegotiation",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [],
}

# --- language, time, files ---------------------------------------------------------------------------

LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
STATICFILES_DIRS = [BASE_DIR / "secai_site" / "static"]
# The address changes with the files, so browsers may keep them for ever and never mix two versions.
STATIC_URL = f"/static/{static_version(BASE_DIR / 'ui' / 'static', *STATICFILES_DIRS)}/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
WHITENOISE_MAX_AGE = 31_536_000

# --- work --------------------------------------------------------------------------------------------

ENGINE = env.text("SECAI_ENGINE", "worker")
ENGINE_THREADS = env.number("SECAI_ENGINE_THREADS", os.cpu_count() or 1, low=1, high=512)
ENGINE_CONTEXT = env.number("SECAI_ENGINE_CONTEXT", 8192, low=512, high=1_048_576)
ENGINE_SLOTS = env.number("SECAI_ENGINE_SLOTS", 4, low=1, high=64)
INTEGRITY_INTERVAL_S = env.number("SECAI_INTEGRITY_INTERVAL", 900, low=5, high=86_400)
PROMOTION = env.text("SECAI_PROMOTION", "automatic")  # or "manual": the operator promotes each model
LOCAL_IMPORT = env.flag("SECAI_LOCAL_IMPORT", default=True)
MODELAUDIT = env.text("SECAI_MODELAUDIT", "")  # the modelaudit of an installation of its own, if any
DEMO_MODEL = env.flag("SECAI_DEMO_MODEL", default=True)

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{levelname} {name} {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": env.text("SECAI_LOG_LEVEL", "INFO")},
    "loggers": {
        # refusals are answers, not faults; real faults are logged where they are caught (kernel/http/errors.py)
        "django.request": {"level": "CRITICAL"},
        "django.security": {"level": "CRITICAL"},
        "daphne": {"level": "WARNING"},
        "twisted": {"level": "ERROR"},
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
    },
}
