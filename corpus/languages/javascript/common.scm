; What the grammars of JavaScript and TypeScript have in common. The vocabulary is documented in corpus/syntax/queries.py.

; Functions ----------------------------------------------------------------------------------------------------------
(arrow_function
  parameters: (_) @scope.header
  body: (_) @scope.body) @scope.function
(arrow_function
  parameter: (identifier) @scope.header
  body: (_) @scope.body) @scope.function
(arrow_function parameter: (identifier) @binding.parameter)
(function_expression parameters: (_) @scope.header body: (_) @scope.body) @scope.function
(generator_function parameters: (_) @scope.header body: (_) @scope.body) @scope.function
(class_static_block body: (_) @scope.body) @scope.function

; A function that a name is given to has that name; its header is told above
(variable_declarator
  name: (identifier) @scope.name
  value: [(arrow_function) (function_expression) (generator_function)] @scope.function)
(pair
  key: (property_identifier) @scope.name
  value: [(arrow_function) (function_expression) (generator_function)] @scope.function)
(assignment_expression
  left: (member_expression property: (property_identifier) @scope.name)
  right: [(arrow_function) (function_expression) (generator_function)] @scope.function)

; Blocks -------------------------------------------------------------------------------------------------------------
(program (statement_block) @scope.block)
(statement_block (statement_block) @scope.block)
(if_statement consequence: (statement_block) @scope.block)
(else_clause (statement_block) @scope.block)
(while_statement body: (statement_block) @scope.block)
(do_statement body: (statement_block) @scope.block)
(try_statement body: (statement_block) @scope.block)
(finally_clause body: (statement_block) @scope.block)
(catch_clause) @scope.block
(for_statement) @scope.block
(for_in_statement) @scope.block
(switch_body) @scope.block

; A literal with names in it is known by the name that it is bound to
(variable_declarator name: (identifier) @scope.name value: (object) @scope.object)
(object (pair key: (property_identifier) @binding.field value: (_) @binding.value))
(object (shorthand_property_identifier) @binding.field)

; Variables ----------------------------------------------------------------------------------------------------------
(variable_declarator name: (identifier) @binding.variable value: (_)? @binding.value)
(variable_declarator
  name: (object_pattern (shorthand_property_identifier_pattern) @binding.variable)
  value: (_) @binding.owner)
(variable_declarator
  name: (object_pattern (pair_pattern
    key: (property_identifier) @binding.key
    value: [(identifier) @binding.variable (assignment_pattern left: (identifier) @binding.variable)]))
  value: (_) @binding.owner)
(variable_declarator
  name: (object_pattern (object_assignment_pattern left: (shorthand_property_identifier_pattern) @binding.variable))
  value: (_) @binding.owner)
(shorthand_property_identifier_pattern) @binding.variable
(pair_pattern value: (identifier) @binding.variable)
(pair_pattern value: (assignment_pattern left: (identifier) @binding.variable))
(array_pattern (identifier) @binding.variable)
(array_pattern (assignment_pattern left: (identifier) @binding.variable))
(object_pattern (rest_pattern (identifier) @binding.variable))
(array_pattern (rest_pattern (identifier) @binding.variable))
(for_in_statement left: (identifier) @binding.variable operator: "of" right: (_) @binding.elements)
(for_in_statement left: (identifier) @binding.variable operator: "in")
(assignment_expression left: (identifier) @binding.variable right: (_) @binding.value)

; Members of the class being written ---------------------------------------------------------------------------------
(assignment_expression
  left: (member_expression object: (this) @binding.object property: (property_identifier) @binding.member)
  right: (_) @binding.value)
(assignment_expression
  left: (member_expression object: (this) @binding.object property: (private_property_identifier) @binding.member)
  right: (_) @binding.value)

; What a condition says of a name ------------------------------------------------------------------------------------
(if_statement
  condition: (parenthesized_expression
    (binary_expression left: (identifier) @binding.narrowed operator: "instanceof" right: (_) @binding.type))
  consequence: (_) @binding.region)
(if_statement
  condition: (parenthesized_expression (binary_expression
    left: (binary_expression left: (identifier) @binding.narrowed operator: "instanceof" right: (_) @binding.type)
    operator: "&&"))
  consequence: (_) @binding.region)
(binary_expression
  left: (binary_expression left: (identifier) @binding.narrowed operator: "instanceof" right: (_) @binding.type)
  operator: "&&"
  right: (_) @binding.region)
(ternary_expression
  condition: (binary_expression left: (identifier) @binding.narrowed operator: "instanceof" right: (_) @binding.type)
  consequence: (_) @binding.region)

; Imports ------------------------------------------------------------------------------------------------------------
; What a module gives by default is known by the name that it is given, where that is a class's by convention.
(import_statement
  (import_clause (identifier) @binding.import)
  source: (string (string_fragment) @import.module)
  (#not-match? @binding.import "^[A-Z]"))
(import_statement
  (import_clause (identifier) @binding.import @import.member)
  source: (string (string_fragment) @import.module)
  (#match? @binding.import "^[A-Z]"))
(import_statement
  (import_clause (namespace_import (identifier) @binding.import))
  source: (string (string_fragment) @import.module))
(import_statement
  (import_clause (named_imports (import_specifier !alias name: (identifier) @binding.import @import.member)))
  source: (string (string_fragment) @import.module))
(import_statement
  (import_clause (named_imports (import_specifier name: (_) @import.member alias: (identifier) @binding.import)))
  source: (string (string_fragment) @import.module))
(variable_declarator
  name: (identifier) @binding.import
  value: (call_expression
    function: (identifier) @_require
    arguments: (arguments . (string (string_fragment) @import.module) .))
  (#eq? @_require "require"))
(variable_declarator
  name: (object_pattern (shorthand_property_identifier_pattern) @binding.import @import.member)
  value: (call_expression
    function: (identifier) @_require
    arguments: (arguments . (string (string_fragment) @import.module) .))
  (#eq? @_require "require"))
