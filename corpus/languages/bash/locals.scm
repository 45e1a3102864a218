; Scopes and what they bind. The vocabulary is documented in corpus/syntax/queries.py.

; Scopes -------------------------------------------------------------------------------------------------------------
(function_definition name: (word) @scope.name body: (_) @scope.body) @scope.function

; Variables ----------------------------------------------------------------------------------------------------------
(variable_assignment name: (variable_name) @binding.variable)
(for_statement variable: (variable_name) @binding.variable)
(declaration_command (variable_name) @binding.variable)
(command name: (command_name (word) @_read) argument: (word) @binding.variable
  (#eq? @_read "read") (#not-match? @binding.variable "^-"))
