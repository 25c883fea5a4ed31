package inference

// Role says who wrote a Message.
type Role string

// The roles that models know.
const (
	RoleSystem    Role = "system"
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
)

// Limits on Request.Messages.
const (
	// MaxMessages is the most messages in a request. Their contents together
	// are limited to MaxPromptBytes.
	MaxMessages = 256
)

// A Message is one turn of a conversation. The model's own chat template, or a
// plain format if it has none, puts the turns together. Content is always read
// as text: what spells a marker of the template, or a special token, neither
// ends a turn nor begins one.
type Message struct {
	Role    Role
	Content string
}
