package admin

import (
	"cmp"
	"net/http"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/access"
)

// NewOperator is the body of POST /api/operators.
type NewOperator struct {
	ID string `json:"id"`
	// Update changes an operator that exists. What is nil or "" stays as it is.
	Update   bool          `json:"update,omitempty"`
	Role     auth.Role     `json:"role,omitempty"` // "operator" if there is no such operator yet
	Name     *string       `json:"name,omitempty"`
	Email    *string       `json:"email,omitempty"`
	Password access.Secret `json:"password,omitempty"`
}

// OperatorChange is the body of PATCH /api/operators/{operator}. What is nil or "" stays as it is.
type OperatorChange struct {
	Disabled *bool         `json:"disabled,omitempty"`
	Password access.Secret `json:"password,omitempty"`
}

func (h *handler) handleOperators() {
	handle(h, "GET /api/operators", func(*http.Request, none) (List[access.Operator], error) {
		return List[access.Operator]{h.Access.Operators()}, nil
	})
	handle(h, "POST /api/operators", h.addOperator)
	handle(h, "PATCH /api/operators/{operator}", h.changeOperator)
	handle(h, "DELETE /api/operators/{operator}", func(r *http.Request, _ none) (none, error) {
		return none{}, h.Access.RemoveOperator(r.Context(), r.PathValue("operator"))
	})
}

func (h *handler) addOperator(r *http.Request, in NewOperator) (access.Operator, error) {
	o := access.Operator{ID: in.ID, Role: auth.Operator}
	put := h.Access.AddOperator
	if in.Update {
		put = h.Access.PutOperator
		if was, err := h.Access.Operator(in.ID); err == nil {
			o = was
		}
	}
	o.Role = cmp.Or(in.Role, o.Role)
	if in.Name != nil {
		o.Name = *in.Name
	}
	if in.Email != nil {
		o.Email = *in.Email
	}
	return put(r.Context(), o, in.Password)
}

func (h *handler) changeOperator(r *http.Request, in OperatorChange) (access.Operator, error) {
	id := r.PathValue("operator")
	if in.Disabled == nil && in.Password == "" {
		return access.Operator{}, refuse(conversation.BadPayload, "nothing is to change")
	}
	if in.Password != "" {
		if err := h.Access.SetPassword(r.Context(), id, in.Password); err != nil {
			return access.Operator{}, err
		}
	}
	if in.Disabled != nil {
		if err := h.Access.SetDisabled(r.Context(), id, *in.Disabled); err != nil {
			return access.Operator{}, err
		}
	}
	return h.Access.Operator(id)
}
