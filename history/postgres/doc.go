// Package postgres is a durable [history.Store] in PostgreSQL.
package postgres
