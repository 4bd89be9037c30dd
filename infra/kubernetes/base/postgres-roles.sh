# The image sources this once, when the data directory is empty. Each service owns its database and cannot connect to the other's.
psql --set ON_ERROR_STOP=1 --username postgres --no-password <<'SQL'
\getenv dagster_password DAGSTER_PG_PASSWORD
\getenv mlflow_password MLFLOW_PG_PASSWORD
create role dagster login password :'dagster_password';
create role mlflow login password :'mlflow_password';
create database dagster owner dagster;
create database mlflow owner mlflow;
revoke connect on database dagster, mlflow, postgres from public;
SQL
