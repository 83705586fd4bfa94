package sio

// Validate is the JSON scanner.
var Validate = validate

// AppendFloat writes a number as ECMAScript does.
var AppendFloat = appendFloat
