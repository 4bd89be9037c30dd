"""What is used of Feast: the module that imports it, since it has to be loaded in a way of its own.

Some names are private; pyproject.toml therefore pins Feast's minor version.
"""

# ruff: noqa: E402

from __future__ import annotations

from pipelines.machine.feast_loading import load_feast

load_feast()

from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    OnDemandFeatureView,
    Project,
    RepoConfig,
    ValueType,
)
from feast.data_source import DataSource
from feast.errors import FeastError, SavedDatasetLocationAlreadyExists
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_NAME, DUMMY_ENTITY_VAL
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.online_stores.helpers import compute_versioned_name as versioned_name
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.online_stores.sqlite import SqliteOnlineStoreConfig
from feast.infra.registry.base_registry import BaseRegistry
from feast.infra.registry.file import FileRegistryStore
from feast.infra.registry.registry_store import RegistryStore
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel, RegistryConfig
from feast.types import Bool, FeastType, Float32, Float64, Int32, Int64, String
from feast.utils import compute_non_entity_date_range

__all__ = [
    "DUMMY_ENTITY_ID",
    "DUMMY_ENTITY_NAME",
    "DUMMY_ENTITY_VAL",
    "BaseRegistry",
    "Bool",
    "DataSource",
    "Entity",
    "EntityKey",
    "FeastConfigBaseModel",
    "FeastError",
    "FeastType",
    "FeatureService",
    "FeatureStore",
    "FeatureView",
    "Field",
    "FileRegistryStore",
    "FileSource",
    "Float32",
    "Float64",
    "Int32",
    "Int64",
    "OfflineStore",
    "OnDemandFeatureView",
    "OnlineStore",
    "Project",
    "Registry",
    "RegistryConfig",
    "RegistryStore",
    "RepoConfig",
    "RetrievalJob",
    "RetrievalMetadata",
    "SavedDatasetFileStorage",
    "SavedDatasetLocationAlreadyExists",
    "SqliteOnlineStoreConfig",
    "String",
    "Value",
    "ValueType",
    "compute_non_entity_date_range",
    "serialize_entity_key",
    "versioned_name",
]
